"""Chats side by side, whole sets answered, what adapter strength costs. Knows nothing of models."""
