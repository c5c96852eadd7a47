"""The tests, by package; see CONTRIBUTING.md."""
