"""The weights that timm has on the Hugging Face hub."""

from __future__ import annotations

import os
import socket
import urllib.request
import warnings
from urllib.parse import urlsplit

from torch import Tensor, nn

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.backbones.image_size import weights_facts
from tao_like.networks.weights.checkpoints import SOURCE_KEY
from tao_like.networks.weights.offline import available_offline
from tao_like.networks.weights.sources import hub_cache_file

# isort: split
import timm

_SECONDS_TO_ANSWER = 5.0


def read_timm_weights(name: str) -> dict[str, Tensor]:
    """Return timm's weights for an architecture, with their own classifier.

    Weights in the hub's cache are read without asking the network; others are downloaded into it.

    Args:
        name: timm's name, with the tag of the weights or without (timm's default then).

    Raises:
        SpecError: timm has no weights for it, or they are not here and cannot be fetched.
    """
    facts = weights_facts(name)
    if not facts.has_weights:
        raise SpecError(f"{SOURCE_KEY}: timm has no pretrained weights for {name}. Give a file instead.")
    cached = hub_cache_file(facts.hf_hub_id) if facts.hf_hub_id and not facts.custom_load else None
    if cached is None and not _hub_answers():
        raise SpecError(_out_of_reach(name))
    source = {"file": str(cached)} if cached is not None else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)
    except Exception as error:  # the hub's client raises the errors of whichever HTTP library it uses
        raise SpecError(_out_of_reach(name)) from error
    return network.state_dict()


def _out_of_reach(name: str) -> str:
    at_hand = available_offline(name)
    other = f"{SOURCE_KEY}={at_hand}, which is on this machine" if at_hand else "a file"
    return (
        f"{SOURCE_KEY}: timm's weights for {name} are not on this machine, and the Hugging Face hub cannot "
        f"be reached. Connect to the network, or give {other}."
    )


def _hub_answers() -> bool:
    """Tell within seconds whether the hub can be reached; its own client takes a minute to give up."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}:
        return False
    if urllib.request.getproxies():
        return True  # A proxy resolves names for us, so only the download itself can tell.
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        with socket.create_connection((hub.hostname or "", hub.port or 443), timeout=_SECONDS_TO_ANSWER):
            return True
    except OSError:
        return False
