"""The subcommands of ``synthdata``."""
