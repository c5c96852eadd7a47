"""The HTTP door: routes that read a request, pass it to a service and show what comes back."""
