"""The proxies, each configured as its expert would to do what jobgate does; what one cannot do stands in its `lacks`."""

import os

from harness import UPSTREAM, sha256
from work import CALLER, KEY, PROXY_CORE, Daemon, free_port, start_nginx, wait_open, write_json

LUA_MODULES = """load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;"""

# A token bucket as it is commonly written; called once a request, or once for all that wait (coalesced).
BUCKET = """local now = redis.call('TIME')
local t = now[1] * 1000000 + now[2]
local b = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = math.min(burst, (tonumber(b[1]) or burst) + (t - (tonumber(b[2]) or t)) * rate / 1000000)
local got = math.min(want, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', tokens - got, 'at', t)
redis.call('PEXPIRE', KEYS[1], 60000)
return got"""

LUA_COMMON = """
local redis, cjson, semaphore = require 'nginx.redis', require 'cjson.safe', require 'ngx.semaphore'
local script = [==[%(bucket)s]==]
local sha
local M = {}

local function take(want)
  local red = redis:new()
  red:set_timeout(1000)
  local ok, err = red:connect('127.0.0.1', %(redis)d)
  if not ok then return nil, err end
  if not sha then sha = red:script('LOAD', script) end
  local got, e = red:evalsha(sha, 1, 'bench', %(rate)d, %(rate)d, want)
  red:set_keepalive(60000, 100)
  return got, e
end

function M.take_one() return take(1) end

local waiting, sema, busy = 0, semaphore.new(0), false
local granted = 0
function M.take_together()      -- who comes while a call is under way goes with the next
  waiting = waiting + 1
  if not busy then
    busy = true
    while waiting > 0 do
      ngx.sleep(0)
      local n = waiting
      waiting = 0
      local got = tonumber(take(n)) or 0
      granted = granted + got
      if n > 1 then sema:post(n - 1) end
      if waiting == 0 then busy = false; break end
      -- those who came meanwhile: this light thread has its own token, and leads once more for them
      waiting = waiting + 1
    end
  else
    local ok = sema:wait(10)
    if not ok then return 0 end
  end
  if granted > 0 then granted = granted - 1; return 1 end
  return 0
end

function M.check()
  local caller = M.callers[ngx.var.http_x_api_key or '']
  if not caller then return ngx.exit(401) end
  ngx.ctx.caller = caller
  ngx.var.caller = caller
  local kind = ngx.var.arg_jobType
  if not kind then return ngx.exit(400) end
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if body and body ~= '' and type(cjson.decode(body)) ~= 'table' then return ngx.exit(400) end
  if tonumber(M.%(take)s()) ~= 1 then return ngx.exit(429) end
  ngx.req.set_uri((ngx.var.uri:gsub('/instances$', '/' .. kind .. '/instances')))
  ngx.req.set_uri_args({})
  ngx.req.clear_header('X-API-Key')
end

M.callers = { ['%(key)s'] = '%(caller)s' }
return M
"""

JSON_LOG = """
  log_format record escape=json '{"time":"$time_iso8601","request_id":"$request_id","caller":"$caller","method":"$request_method",'
    '"uri":"$request_uri","status":$status,"upstream":"$upstream_status","location":"$sent_http_location","seconds":$request_time}';
  access_log %(folder)s/access.log record buffer=64k flush=1s;
"""


class Peer:
    """One proxy on a port of its own; POST to LEGACY with the key is what it is asked."""

    name, does, lacks = "", "", ""

    def __init__(self, folder, certificates, upstream, redis, options):
        self.folder, self.certificates, self.upstream, self.redis, self.options = folder, certificates, upstream, redis, options
        self.port = free_port()
        os.makedirs(folder, exist_ok=True)
        try:
            self.start()
        except RuntimeError:    # it does not listen
            self.stop()
            raise

    def start(self):
        raise NotImplementedError

    def pids(self):
        """The process and its children."""
        with open(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children", encoding="ascii") as file:
            return [self.daemon.pid, *map(int, file.read().split())]

    def stop(self):
        self.daemon.stop()


class Nginx(Peer):
    """nginx: the upstream by keep-alive TLS with verification; the rest by subclasses."""

    modules, log, before = "", "access_log off;", ""

    def upstream_block(self):
        return f"""
  upstream fabric {{ server 127.0.0.1:{self.upstream.port}; keepalive 1000; keepalive_requests 100000000; keepalive_timeout 3600s; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host {UPSTREAM}; proxy_set_header X-API-Key "";
  proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.certificates.path("ca.pem")}; proxy_ssl_name {UPSTREAM};
  proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on;
"""

    def location(self):
        return "proxy_pass https://fabric;"

    def start(self):
        self.daemon = start_nginx(self.folder, PROXY_CORE, self.upstream_block() + self.log % {"folder": self.folder} + self.before + f"""
  server {{ {self.listen()} set $caller ''; location / {{ {self.location()} }} }}
""".replace("set $caller '';", self.variable()), self.modules, self.options.workers)
        wait_open(self.port, self.daemon)

    def listen(self):
        if not self.options.tls:
            return f"listen 127.0.0.1:{self.port} backlog=4096;"
        cert, key = self.certificates.pair("front")
        return (f"listen 127.0.0.1:{self.port} ssl backlog=4096; ssl_certificate {cert}; ssl_certificate_key {key}; "
                "ssl_protocols TLSv1.3;")

    def variable(self):
        return ""


class NginxPlain(Nginx):
    name, does = "nginx plain", "proxy_pass with verified keep-alive TLS"
    lacks = "key, rewrite, limit, body check, any record"


class NginxMap(Nginx):
    name, does = "nginx map", "map of keys, rewrite, limit_req, JSON log"
    lacks = "a limit over instances, body check, a record before the send"
    log = JSON_LOG

    @property
    def before(self):
        return f"""
  map $http_x_api_key $caller {{ default ''; '{KEY}' {CALLER}; }}
  limit_req_zone $caller zone=all:1m rate=1000000r/s;
"""

    def location(self):
        return """if ($caller = '') { return 401; } limit_req zone=all burst=100000 nodelay;
      rewrite ^(.*)/instances$ $1/$arg_jobType/instances? break; proxy_pass https://fabric;"""


class NginxLua(Nginx):
    name, does = "nginx+Lua+Redis", "key, rewrite, body decoded, EVALSHA per request, JSON log"
    lacks = "a record before the send, waiting instead of 429, a fleet that loses its Redis"
    modules, log, take = LUA_MODULES, JSON_LOG, "take_one"

    def variable(self):
        return "set $caller '';"

    @property
    def before(self):
        with open(os.path.join(self.folder, "gate.lua"), "w", encoding="utf-8") as out:
            out.write(LUA_COMMON % {"bucket": BUCKET, "redis": self.redis.port, "rate": 1000000, "take": self.take, "key": KEY,
                                    "caller": CALLER})
        return f"""
  lua_package_path '{self.folder}/?.lua;/usr/share/lua/5.1/?.lua;;'; lua_package_cpath '/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;;';
  init_worker_by_lua_block {{ require 'gate' }}
"""

    def location(self):
        return "access_by_lua_block { require('gate').check() } proxy_pass https://fabric;"


class NginxCoalesced(NginxLua):
    name, does = "nginx+Lua coalesced", "the same, one EVALSHA for all that wait"
    take = "take_together"


class Haproxy(Peer):
    name, does = "HAProxy", "map of keys, rewrite, stick table, JSON log"
    lacks = "a limit over instances, body check, a record before the send"

    def bind(self):
        if not self.options.tls:
            return f"bind 127.0.0.1:{self.port} backlog 4096"
        both = os.path.join(self.folder, "front.both")
        with open(both, "w", encoding="ascii") as out:
            for path in self.certificates.pair("front"):
                with open(path, encoding="ascii") as file:
                    out.write(file.read())
        return f"bind 127.0.0.1:{self.port} ssl crt {both} ssl-min-ver TLSv1.3 alpn http/1.1 backlog 4096"

    def start(self):
        with open(os.path.join(self.folder, "keys.map"), "w", encoding="utf-8") as out:
            out.write(f"{KEY} {CALLER}\n")
        path = os.path.join(self.folder, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self.configuration())
        self.daemon = Daemon(self.folder, PROXY_CORE, ["haproxy", "-W", "-f", path])
        wait_open(self.port, self.daemon)

    def configuration(self):
        return f"""
global
  nbthread {self.options.workers}
  maxconn 9000
  log stdout format raw local0
  ssl-server-verify required
defaults
  mode http
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
  timeout http-keep-alive 3600s
  http-reuse always
  option http-keep-alive
  log global
  log-format '{{"time":"%tr","caller":"%[var(txn.caller)]","request":"%{{+E}}HU","status":%ST,"ms":%Ta}}'
backend limits
  stick-table type string len 64 size 100k expire 60s store http_req_rate(1s)
frontend front
  {self.bind()}
  http-request set-var(txn.caller) req.hdr(X-API-Key),map_str({self.folder}/keys.map,none)
  http-request deny deny_status 401 if {{ var(txn.caller) -m str none }}
  http-request track-sc0 var(txn.caller) table limits
  http-request deny deny_status 429 if {{ sc_http_req_rate(0,limits) gt 1000000 }}
  http-request set-var(txn.kind) url_param(jobType)
  http-request set-uri %[path,regsub(/instances$,)]/%[var(txn.kind)]/instances
  http-request del-header X-API-Key
  default_backend fabric
backend fabric
  http-request set-header Host {UPSTREAM}
  server fabric 127.0.0.1:{self.upstream.port} ssl verify required ca-file {self.certificates.path("ca.pem")} sni str({UPSTREAM}) verifyhost {UPSTREAM} ssl-min-ver TLSv1.3 alpn http/1.1 pool-max-conn -1 pool-purge-delay 3600s
"""


class Jobgate(Peer):
    """All features on; the journal on a tmpfs (its fdatasync costs nothing) or on the disk."""

    name, does, lacks = "jobgate", "key, rewrite, body validated, bucket in Redis, intent synced before the send, outcome", ""
    journal, build, core = "/dev/shm", os.environ.get("JOBGATE_BUILD", ""), PROXY_CORE

    def start(self):
        import tempfile
        self.audit = tempfile.mkdtemp(prefix="jobgate-bench-", dir=self.journal)
        self.admin_port = free_port()
        path = os.path.join(self.folder, "jobgate.json")
        write_json(path, self.configuration())
        self.daemon = Daemon(self.folder, self.core, [os.path.join(self.build, "jobgate"), "serve", "--config", path])
        wait_open(self.port, self.daemon)

    def configuration(self):
        return {
            "listen": [self.listener()], "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "upstream": {"url": f"https://127.0.0.1:{self.upstream.port}", "server_name": UPSTREAM,
                         "ca_file": self.certificates.path("ca.pem"), "quota": {"requests": 10000000, "window": "1s"},
                         "idle_timeout": "3600s"},
            # Redis shares a core with the load: an answer that this delays is no fault of the store.
            "store": {"redis": f"redis://127.0.0.1:{self.redis.port}", "timeout": "1s",
                      "prefix": "bench" if getattr(self.options, "fleet", False) else f"bench{self.port}"},
            "callers": [{"name": CALLER, "keys": [{"id": "k1", "sha256": sha256(KEY)}]}],
            "limits": {"idle_timeout": "3600s"}, "log": {"level": "info"},
            "audit": {"directory": self.audit}, "workers": self.options.workers, "instance": "bench"}

    def listener(self):
        found = {"address": f"127.0.0.1:{self.port}"}
        if self.options.tls:
            cert, key = self.certificates.pair("front")
            found["tls"] = {"cert_file": cert, "key_file": key}
        return found

    def stop(self):
        import shutil
        super().stop()
        shutil.rmtree(self.audit, ignore_errors=True)


class JobgateDisk(Jobgate):
    """Its folder is set before it starts (--disk)."""

    name = "jobgate, disk"


class JobgateBefore(Jobgate):
    """Another build of jobgate, for what a change is worth (--before FOLDER)."""

    name = "jobgate before"


PEERS = (Jobgate, JobgateDisk, NginxLua, NginxCoalesced, Haproxy, NginxMap, NginxPlain)
