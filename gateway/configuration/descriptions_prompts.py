"""What every key of a prompt router is for, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration import schema_prompts as prompts

DESCRIPTIONS: Mapping[type[msgspec.Struct], Mapping[str, str]] = {
    prompts.Router: {
        "file": "What `penstock router train` wrote, in the policy's folder or below it.",
        "sha256": "Of the file's content, as the command prints it; a file that says something else is refused.",
        "input": "The input of datatype BYTES whose texts are scored; of several texts the hardest counts.",
    },
    prompts.Scored: {
        "at_least": "Scores from here on, this one included: hard prompts have high ones.",
        "below": "Scores up to here, this one not included.",
    },
}

EXAMPLES: Mapping[type[msgspec.Struct], str] = {
    prompts.Router: """
file: difficulty.json
sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
input: prompt
""",
}
