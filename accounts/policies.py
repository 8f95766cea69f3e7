"""The policies that a workspace can accept, and their current versions. Pure: no Django."""

#: Policy → current version. A model that needs a policy carries its name as a tag; raising a version asks everybody anew.
POLICIES: dict[str, int] = {"uncensored": 1}
