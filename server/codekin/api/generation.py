"""`Generation`: code written by a local model, whole, in batches, as a stream, or under a grammar.

Works in the calling process, without a daemon. Every failure is a CodekinError of one sentence.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codekin.api.models import first_generator, loading_options, model_rows
from codekin.errors import UsageError
from codekin.models.catalogue import recommend_generator
from codekin.models.generation.service import GenerationService
from codekin.models.loading import load_generator
from codekin.models.planner import HardwareSupport, check_hardware
from codekin.protocols import GeneratedText, GenerationRequest, Sampling


class Generation:
    """A generator: a key of `list_models()`, an absolute folder or a GGUF file; "auto" takes the first that is here.

    The model is loaded at the first text. A context manager: leaving it ends the worker threads.
    """

    def __init__(self, model: str = "auto", device: str = "auto", *, data_dir: Path | str | None = None) -> None:
        """Raises ModelError where no generator is on this machine, or the device is not there."""
        self._options = loading_options(device, data_dir)
        self.model = first_generator(self._options) if model == "auto" else str(model)
        self._service = GenerationService(lambda key: load_generator(key, self._options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker threads."""
        self._service.close()

    def generate(self, prompt: str, *, suffix: str | None = None, chat: bool = False, **sampling: Any) -> str:
        """The text that continues the prompt, or fills the gap before `suffix`.

        `sampling`: max_tokens, temperature, top_p, top_k, repetition_penalty, seed, stop, regex, grammar, begins.
        Raises UsageError for values out of bounds, ModelError where the model cannot be loaded.
        """
        return self._service.generate(self._request(prompt, suffix, chat, sampling)).text

    def generate_batch(self, prompts: Sequence[str], **sampling: Any) -> list[str]:
        """The texts of several prompts, written together."""
        if isinstance(prompts, str):
            raise UsageError("Give a list of prompts; `generate` takes a single one.")
        requests = [self._request(prompt, None, False, sampling) for prompt in prompts]
        return [found.text for found in self._service.submit_batch(requests).result()]

    def stream(self, prompt: str, *, suffix: str | None = None, **sampling: Any) -> Iterator[str]:
        """The text in parts, as they become certain; leaving the iteration ends the work."""
        for step in self._service.stream(self._request(prompt, suffix, False, sampling)):
            if not isinstance(step, GeneratedText) and step.text:
                yield step.text

    def constrained_generate(self, prompt: str, *, regex: str = "", grammar: str = "", **sampling: Any) -> str:
        """A text that matches a regular expression, or follows a Lark grammar. Raises UsageError without either."""
        if bool(regex) == bool(grammar):
            raise UsageError("Give a regular expression or a grammar, and only one of them.")
        return self.generate(prompt, **sampling, regex=regex or None, grammar=grammar or None)

    def list_models(self) -> list[dict[str, Any]]:
        """Every generator of the catalogue: key, role, here (whether it is on this machine), licence, summary."""
        return model_rows("generator", self._options)

    @staticmethod
    def recommended_model(purpose: str = "production") -> str:
        """The key of the generator for "production" or "dev". Raises ModelError for any other purpose."""
        return recommend_generator(purpose)

    @staticmethod
    def hardware_supported(model: str = "") -> HardwareSupport:
        """Whether this machine can run a model: true or false, with a reason. Raises ModelError for unknown ones."""
        return check_hardware(model or recommend_generator("production"))

    def _request(self, prompt: str, suffix: str | None, chat: bool, sampling: dict[str, Any]) -> GenerationRequest:
        return GenerationRequest(
            prompt=prompt, model=self.model, suffix=suffix, chat=chat, sampling=read_sampling(sampling)
        )


def read_sampling(values: dict[str, Any]) -> Sampling:
    """The sampling that keyword arguments say. Raises UsageError for a name that there is not, or a wrong value."""
    known = Sampling.__dataclass_fields__
    if unknown := sorted(set(values) - set(known)):
        raise UsageError(f"There is no option {unknown[0]!r}; there are {', '.join(known)}.")
    given = dict(values)
    if isinstance(given.get("stop"), str):
        given["stop"] = (given["stop"],)
    try:
        return Sampling(**{**given, "stop": tuple(given.get("stop") or ())})
    except TypeError as error:
        raise UsageError(f"A value of the sampling has a wrong type ({error}): give numbers and texts.") from error
