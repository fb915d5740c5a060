"""The prompts that decoders are taught: one section, structured findings, a question, what was seen before them."""

from __future__ import annotations

from collections.abc import Sequence

#: Markers of the prompts, one token each.
REPORT, FACTS, QUESTION, ANSWER = "<report>", "<facts>", "<question>", "<answer>"
MARKERS = (REPORT, FACTS, QUESTION, ANSWER)


def section_prompt(section: str, told: str = "") -> str:
    """Prompt for one section, after structured findings (``wording.fact_lines``) or what the model itself sees there
    (``seen_text``)."""
    return _after(told, f"{REPORT} {section.replace('_', ' ')}:")


def question_prompt(question: str, seen: str = "") -> str:
    return _after(seen, f"{QUESTION} {question.strip()} {ANSWER}")


def _after(told: str, prompt: str) -> str:
    return f"{FACTS} {told}\n{prompt}" if told else prompt


def seen_text(seen: Sequence[tuple[str, Sequence[str]]], absent: Sequence[str] = ()) -> str:
    """What a detector found, as lines of a prompt.

        seen: hepatic cyst | segment VII
        not seen: liver metastasis, gallstone

    Evidence tokens alone never taught the small decoder what is there, however long it was trained; words did
    at once. So the findings of its own encoder come to it as words.
    """
    lines = [f"seen: {' | '.join((words, *places))}" for words, places in seen] or ["seen: nothing"]
    return "\n".join([*lines, *([f"not seen: {', '.join(absent)}"] if absent else [])])
