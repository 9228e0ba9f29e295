"""What stands beside an adapter that is uploaded to a hub: its card, pictures for it, and settings without paths."""
