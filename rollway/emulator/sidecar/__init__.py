"""The services that Azure gives to a container on its own loopback: managed identity and the data collector."""
