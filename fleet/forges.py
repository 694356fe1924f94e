"""Ask GitHub or GitLab which requests a branch has; all-repos itself only opens them."""

import urllib.parse
from collections.abc import Callable

from all_repos import git, github_api, gitlab_api

# State and address of a request.
Requests = list[tuple[str, str]]


def github(settings: object, token: str, branch: str) -> Requests:
    """List the pull requests of a branch: open, refused or merged, and where."""
    slug = git.remote(".").rpartition(":")[2].removesuffix(".git")
    owner = settings.username if settings.fork else slug.partition("/")[0]
    query = urllib.parse.urlencode({"state": "all", "head": f"{owner}:{branch}"})
    url = f"{settings.base_url}/repos/{slug}/pulls?{query}"
    found = github_api.get_all(url, headers={"Authorization": f"token {token}"})
    states = {True: "merged", False: "refused"}
    return [
        ("open" if row["state"] == "open" else states[bool(row["merged_at"])], row["html_url"])
        for row in found
    ]


def gitlab(settings: object, token: str, branch: str) -> Requests:
    """List the merge requests of a branch: open, refused or merged, and where."""
    slug = git.remote(".").rpartition(":")[2].removesuffix(".git")
    query = urllib.parse.urlencode({"source_branch": branch})
    project = urllib.parse.quote(slug, safe="")
    url = f"{settings.base_url}/projects/{project}/merge_requests?{query}"
    found = gitlab_api.get_all(url, headers={"Private-Token": token})
    states = {"opened": "open", "closed": "refused"}
    return [(states.get(row["state"], row["state"]), row["web_url"]) for row in found]


FORGES: dict[str, Callable[..., Requests]] = {
    "all_repos.push.github_pull_request": github,
    "all_repos.push.gitlab_pull_request": gitlab,
}
