"""A generator on the user's own server beside the repository: it is asked in texts and tells no chances.

Imported with torch.
"""

from codekin.completion.corpus import Corpus
from codekin.completion.gap import Gap
from codekin.completion.generating import Generation, kin_for
from codekin.completion.prompt import CHARACTERS_A_TOKEN, window
from codekin.completion.repository import Guess, guesses
from codekin.completion.snippets import commented
from codekin.completion.suggest import SPARE, Wish
from codekin.models.generators import REMOTE, Ask
from codekin.models.sampling import Sampling

REMOTE_CHANCE = 0.45
"""How often a served model's line is taken to be right where nothing is known of it: it wins over an unsure repository,
and gives way to a sure one."""


def remote_ask(corpus: Corpus, gap: Gap, generation: Generation) -> Ask:
    """What the server is asked: the line behind kin as comments and the text before the cursor."""
    kin = commented(gap.language, kin_for(corpus, gap, generation))
    most = generation.prompt_tokens * CHARACTERS_A_TOKEN
    sampling = Sampling(max_tokens=generation.max_tokens, stop=("\n",))
    return Ask(prompt=kin + window(gap.prefix, most), model=REMOTE, suffix=gap.suffix[:most] or None, sampling=sampling)


def with_remote_line(corpus: Corpus, gap: Gap, wish: Wish, line: str) -> list[Guess]:
    """The repository's guesses and the server's line by their chances; a line that both have gains by it."""
    chances = {guess.text: guess.confidence for guess in guesses(corpus, gap, limit=wish.alternatives + SPARE)}
    if own := line.partition("\n")[0].rstrip():
        chances[own] = 1 - (1 - REMOTE_CHANCE) * (1 - chances.get(own, 0.0))
    return [Guess(text, chance) for text, chance in sorted(chances.items(), key=lambda pair: -pair[1])]
