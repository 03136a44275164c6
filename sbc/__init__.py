"""A push-capable Session Border Controller."""
