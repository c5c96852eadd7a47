"""Governed plugin calls: ``ToolRunner`` runs them, ``PluginRegistry`` knows and counts them."""
