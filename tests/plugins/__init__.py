"""Tests of the plugins package: manifests as authors write them, folders as operators have."""
