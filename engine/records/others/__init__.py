"""Prompts that other people wrote, read in place out of their packages: to measure with, never to train on."""
