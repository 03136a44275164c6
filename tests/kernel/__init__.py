"""The relay's forwarding in the kernel, in network namespaces of their own. Needs root."""
