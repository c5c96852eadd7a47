"""Environments: what a plugin needs beside the standard library, installed once and read-only."""
