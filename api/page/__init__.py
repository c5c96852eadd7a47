"""The operator's page: what a person looks at in a browser, served beside the HTTP API."""
