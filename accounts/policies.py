"""The policies that a workspace can accept: their present versions and texts. Pure: no Django."""

from dataclasses import dataclass

#: Policy → current version. A model that needs a policy carries its name as a tag; raising a version asks everybody anew.
POLICIES: dict[str, int] = {"uncensored": 1}


@dataclass(frozen=True, slots=True)
class PolicyText:
    """What is accepted, in one version."""

    title: str
    summary: str
    #: Numbered on the page.
    rules: tuple[str, ...]


#: (policy, version) → its text. A version that was published never changes: who accepted it accepted these words.
TEXTS: dict[tuple[str, int], PolicyText] = {
    ("uncensored", 1): PolicyText(
        title="Use of uncensored models",
        summary=(
            "Models with the tag “uncensored” answer without the filters that their makers build into other models. "
            "What they write may be wrong, offensive or harmful. Whoever accepts this for a workspace says that it keeps these "
            "rules."
        ),
        rules=(
            "Everybody who reads the models’ answers through this workspace is an adult where they live, and knows that "
            "the answers are not filtered.",
            "Nothing is made that sexualises minors, and nothing that shows real people in sexual or degrading ways without their "
            "consent.",
            "Nothing is made that helps to hurt people: weapons that can kill many, attacks on computers of others, plans of "
            "violence, or the harassment of a person.",
            "Answers are not passed off as advice of a doctor, a lawyer or another professional, and not as written by a person "
            "where that would deceive.",
            "The laws that hold for the workspace hold for what it makes with these models. The workspace answers for it, and for "
            "what it lets its own users do.",
            "The operator of this service may end the workspace’s access where these rules are broken.",
        ),
    ),
}


def policy_text(policy: str) -> PolicyText | None:
    """Return the text of a policy's present version; None: there is no such policy."""
    version = POLICIES.get(policy)
    return None if version is None else TEXTS.get((policy, version))
