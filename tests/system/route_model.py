"""An independent model of the routes: what the contract and fabric.md say, written without a look at the gateway's code."""

import re

COLLECTIONS = {"items", "datapipelines", "notebooks", "lakehouses", "sparkjobdefinitions", "dataflows", "graphmodels",
               "databuildtooljobs"}
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
JOB_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,128}")
PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|\[|\]|%[0-9a-fA-F]{2})*")
QUERY = re.compile(r"(?:[!-$&-~]|%[0-9a-fA-F]{2})*")

BAD = (400, "JobgateBadRequest", None)
BAD_TYPE = (400, "InvalidJobType", None)
UNKNOWN = (404, "EntityNotFound", None)
BAD_METHOD = (405, "JobgateMethodNotAllowed", None)


def decode(text):
    return re.sub(r"%([0-9a-fA-F]{2})", lambda m: chr(int(m.group(1), 16)), text)


def is_job_type(text):
    return bool(JOB_TYPE.fullmatch(text)) and text.strip(".") != "" and text.lower() not in ("instances", "schedules")


def strict(path, query):
    """Whether a target is one that two parsers can only read alike."""
    if not path.startswith("/") or not PATH.fullmatch(path):
        return False
    if query is not None and (not QUERY.fullmatch(query) or "#" in query or "%00" in query):
        return False
    segments = [decode(s) for s in path[1:].split("/")]
    if any(re.search(r"[\x00-\x1f\x7f/\\]", s) or s in (".", "..") for s in segments):
        return False
    return "" not in segments[:-1]


def shape_of(s):
    """Name the route of the segments, or None."""
    if len(s) < 7 or s[0] != "v1" or s[1].lower() != "workspaces" or s[5].lower() != "jobs" or \
            s[3].lower() not in COLLECTIONS or s[-1] == "":
        return None
    rest = [part.lower() for part in s[6:]]
    if rest == ["instances"]:
        return "instances"
    if len(rest) == 2 and rest[1] == "instances":
        return "run"
    if len(rest) == 2 and rest[1] == "schedules":
        return "schedules"
    if len(rest) == 2 and rest[0] == "instances":
        return "instance"
    if len(rest) == 3 and rest[0] == "instances" and rest[2] == "cancel":
        return "cancel"
    if len(rest) == 3 and rest[1] == "schedules" and rest[2] not in ("instances", "schedules", "cancel"):
        return "schedule"
    return None


METHODS = {"instances": "GET HEAD POST", "run": "POST", "instance": "GET HEAD", "cancel": "POST",
           "schedules": "GET HEAD POST", "schedule": "GET HEAD PATCH DELETE"}


def expect(method, target):
    """(status, errorCode, None) of a refusal, or (None, None, target upstream)."""
    path, mark, query = target.partition("?")
    query = query if mark else None
    if not strict(path, query):
        return BAD
    segments = path[1:].split("/")
    shape = shape_of(segments)
    if shape is None:
        return UNKNOWN
    ids = [segments[2], segments[4]]
    if shape in ("instance", "cancel"):
        ids.append(segments[7])
    if shape == "schedule":
        ids.append(segments[8])
    if not all(UUID.fullmatch(i) for i in ids):
        return BAD
    if method not in METHODS[shape].split():
        return BAD_METHOD
    pairs = [(p, *p.partition("=")[::2]) for p in query.split("&")] if query else []
    typed = [decode(value) for _, key, value in pairs if decode(key).strip(" +\t").lower() == "jobtype"]
    runs = shape == "run" or (shape == "instances" and method == "POST")
    if shape in ("run", "schedules", "schedule") or runs:
        if len(typed) > 1:
            return BAD_TYPE
        in_path = decode(segments[6]) if shape != "instances" else None
        job_type = in_path if in_path is not None else (typed[0] if typed else "")
        if not is_job_type(job_type) or (in_path is not None and typed and typed[0].lower() != in_path.lower()):
            return BAD_TYPE
        if runs and typed:
            others = "&".join(p for p, key, _ in pairs if decode(key).strip(" +\t").lower() != "jobtype")
            if shape == "instances":
                path = "/" + "/".join(segments[:6] + [job_type] + segments[6:])
            return None, None, path + ("?" + others if others else "")
    return None, None, target
