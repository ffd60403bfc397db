"""What templates may load from the tools app."""
