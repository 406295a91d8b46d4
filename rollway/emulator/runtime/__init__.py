"""What runs behind an emulated online deployment: built environments and Microsoft's own inference server."""
