"""Small files of a model on the Hugging Face hub, through the hub's own client."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.extras import missing_extra
from kvplace.facts.checkpoint.json_object import parse_object
from kvplace.facts.checkpoint.safetensors import INDEX, index_total, single_file

_SINGLE = "model.safetensors"


class HubFiles:
    """Files of one repository; its cache and token rules are the client's.

    Parameters
    ----------
    repo
        Such as ``Qwen/Qwen3-8B``.
    revision
        A branch, tag or commit; None for the default branch.
    """

    def __init__(self, repo: str, revision: str | None = None) -> None:
        try:
            import huggingface_hub  # noqa: PLC0415 - an optional extra
            import huggingface_hub.errors  # noqa: PLC0415 - not loaded with its package
            import huggingface_hub.utils  # noqa: PLC0415 - not loaded with its package
        except ImportError as error:
            raise missing_extra("reading a model from the Hugging Face hub", "hub") from error
        self._hub: Any = huggingface_hub
        self._hub.utils.disable_progress_bars()
        # Loaded here because each module that the client loads sets its log level back.
        for name in ("hf_hub_download", "get_safetensors_metadata", "try_to_load_from_cache"):
            getattr(huggingface_hub, name)
        self._repo = repo
        self._revision = revision
        self._answers: bool | None = None

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None where the repository has no such file.

        Raises
        ------
        InputError
            The repository is unknown, gated, or out of reach.
        """
        errors = self._hub.errors
        try:
            with _quiet():
                path = self._hub.hf_hub_download(
                    self._repo,
                    name,
                    revision=self._revision,
                    local_files_only=not self._within_reach(name),
                )
        except errors.LocalEntryNotFoundError as error:
            known = self._hub.try_to_load_from_cache(self._repo, name, revision=self._revision)
            if known is not None and not isinstance(known, str):
                return None  # the cache remembers that there is no such file
            here = "" if "/" in self._repo else "there is no directory of this name, "
            raise InputError(
                f"{here}{name} is not in the cache and the hub is out of reach; give a directory, "
                "or look for the model with 'kvplace catalogue models'",
                self._repo,
            ) from error
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            raise InputError(
                "the model is gated: accept its licence on the hub and log in with "
                "'hf auth login', or set HF_TOKEN",
                self._repo,
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise InputError(
                "the hub has no such model, or it is private and no token was given", self._repo
            ) from error
        except (errors.HFValidationError, ValueError) as error:
            place = self._repo.startswith((".", "/", "~"))
            raise InputError(
                "there is no such directory"
                if place
                else f"no directory and no hub id: {_one_line(error)}",
                self._repo,
            ) from error
        except Exception as error:  # the client's transports raise their own trees
            raise InputError(f"the hub answered: {_one_line(error)}", self._repo) from error
        return Path(path).read_bytes()

    def _within_reach(self, name: str) -> bool:
        """Whether the hub answers at all, asked once: the client waits 20 s for one that does not.

        A file that is here already need not be asked for.
        """
        if self._answers is None:
            known = self._hub.try_to_load_from_cache(self._repo, name, revision=self._revision)
            if isinstance(known, str):
                return True
            try:
                url = self._hub.hf_hub_url(self._repo, name, revision=self._revision)
                self._hub.get_hf_file_metadata(url)
            except (self._hub.errors.HfHubHTTPError, ValueError):  # an answer, if a bad one
                self._answers = True
            except Exception:  # noqa: BLE001 - the client's transports raise their own trees
                self._answers = False
            else:
                self._answers = True
        return self._answers

    def weights(self) -> Fact[int]:
        """Return the bytes of weights: from the index, else the header of the single file.

        Raises
        ------
        InputError
            The repository has no safetensors file.
        """
        text = self.read(INDEX)
        if text is not None:
            source = f"{self._repo}/{INDEX}"
            return index_total(parse_object(text, source), source)
        cached = self._hub.try_to_load_from_cache(self._repo, _SINGLE, revision=self._revision)
        if isinstance(cached, str):
            return single_file(Path(cached))
        try:
            with _quiet():
                metadata = self._hub.get_safetensors_metadata(self._repo, revision=self._revision)
        except Exception as error:  # the client's transports raise their own trees
            raise InputError(
                f"the bytes of weights are not known: {_one_line(error)}", self._repo
            ) from error
        sizes = [
            tensor.data_offsets[1] - tensor.data_offsets[0]
            for file in metadata.files_metadata.values()
            for tensor in file.tensors.values()
        ]
        return Fact(sum(sizes), f"{len(sizes):,} tensors in the header of {_SINGLE} on the hub")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client from logging each of its retries; the last failure is raised anyway."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _one_line(error: BaseException) -> str:
    """Return the first line of a message, without a trailing full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
