"""Tests of the runner package: errors, verdicts, strict JSON, validation, settings."""
