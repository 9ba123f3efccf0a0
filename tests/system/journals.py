"""Journals made as a gateway makes them: chained records in files by size and day, which `jobgate audit verify` accepts."""

import datetime
import hashlib
import json
import os
import random
import uuid

ZEROS = "0" * 64


class Journal:
    """Writes one journal; the clock is its own."""

    def __init__(self, folder, seed=1, instance="gate", segment=64 << 20, start=datetime.datetime(2025, 11, 1)):
        self.folder, self.random, self.instance, self.segment = str(folder), random.Random(seed), instance, segment
        self.uuid, self.seq, self.prev, self.time = self.id(), 0, ZEROS, start
        self.file, self.name, self.day, self.size, self.written = None, None, "", 0, 0
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "journal.id"), "w", encoding="ascii") as file:
            file.write(self.uuid + "\n")

    def id(self):
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    def line(self, kind, members=""):
        """The next record, with its newline; MEMBERS: JSON members, if any with a comma before them."""
        self.seq += 1
        text = (f'{{"v":1,"journal":"{self.uuid}","instance":"{self.instance}","seq":{self.seq},"time":"'
                f'{self.time.isoformat(timespec="microseconds")}Z","kind":"{kind}"{members},"prev":"{self.prev}"')
        self.prev = hashlib.sha256(text.encode()).hexdigest()
        return f'{text},"hash":"{self.prev}"}}\n'

    def _open(self, size):
        day = self.time.strftime("%Y%m%d")
        if self.file and day == self.day and self.size < self.segment:
            return
        self.close()
        self.day, self.size, self.name = day, 0, f"{self.seq + 1 - size:020d}-{day}.jsonl"
        self.file = open(self.path(), "a", encoding="utf-8")  # pylint: disable=consider-using-with

    def path(self):
        return os.path.join(self.folder, self.name)

    def close(self):
        if self.file:
            self.file.close()
        self.file = None

    def append(self, *lines):
        """Put lines into the file that is written, or into a new one."""
        self._open(len(lines))
        text = "".join(lines)
        self.file.write(text)
        self.size += len(text)
        self.written += len(text)

    def put(self, kind, members=""):
        self.append(self.line(kind, members))
        return self

    def flush(self):
        if self.file:
            self.file.flush()

    def _common(self, caller):
        request = self.id()
        return request, (f',"request_id":"{request}","client_request_id":null,"caller":{json.dumps(caller, ensure_ascii=False)},"key":"k1",'
                         '"identity":"default","peer":"127.0.0.1:40144","operation":"run"')

    @staticmethod
    def _asked(workspace, item, body):
        return (f',"workspace":"{workspace}","item":"{item}","job_type":"RunNotebook","legacy":false,"body_bytes":0,'
                f'"body_sha256":"{body}"')

    def _outcome(self, common, result, workspace, item, job):
        status, answered = {"accepted": (202, 202), "rejected": (403, 403)}.get(result, (0, 409))
        accepted = result == "accepted"
        location = f'"https://api.fabric.microsoft.com/v1/workspaces/{workspace}/items/{item}/jobs/instances/{job}"' if accepted else "null"
        error = "null" if accepted else '"InsufficientPrivileges"' if result == "rejected" else '"JobgateOutcomeUnknown"'
        job = f'"{job}"' if accepted else "null"
        return self.line("outcome", f'{common},"result":"{result}","status":{status},"answered":{answered},"error_code":{error},'
                         f'"location":{location},"instance_id":{job},"upstream_request_id":"{self.id()}","attempts":1,"wait_ms":2,'
                         '"duration_ms":3')

    def trigger(self, caller="etl", result="accepted", later=45.0, workspace=None, item=None, body=ZEROS):
        """An intent and (RESULT is not None) its outcome, or a refusal; the request's id and the job's. Then the clock goes on."""
        request, common = self._common(caller)
        workspace, item, job = workspace or self.id(), item or self.id(), self.id()
        asked = common + self._asked(workspace, item, body)
        if result == "refused":
            lines = [self.line("refusal", f'{asked},"status":429,"error_code":"TooManyRequestsForJobs","count":1')]
        else:
            lines = [self.line("intent", asked)]
            lines += [self._outcome(common, result, workspace, item, job)] if result else []
        self.append(*lines)
        self.time += datetime.timedelta(seconds=later)
        return request, job


def rechain(lines, prev):
    """LINES (without newlines) with prev and hash made anew, the first following PREV: what a careful forger does."""
    out = []
    for line in lines:
        text = line[:line.rindex(',"prev":"')] + f',"prev":"{prev}"'
        prev = hashlib.sha256(text.encode()).hexdigest()
        out.append(f'{text},"hash":"{prev}"}}')
    return out
