"""Settings chosen without labels: what an edge is worth, K, T and the rows to drop."""

from gfa_jax.selection.settings import WIDTH, Evidence, Settings, choose_settings

__all__ = [
    "WIDTH",
    "Evidence",
    "Settings",
    "choose_settings",
]
