"""Every way a plugin or a host can fail, tried."""
