"""The governance rules, enforced by machine: scanner, migration, audit."""
