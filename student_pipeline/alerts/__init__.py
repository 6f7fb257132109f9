"""Alerts: what went wrong in a run, told once, by e-mail or into a chat."""
