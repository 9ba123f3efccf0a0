-- wrk: the POST of the comparison, and its figures as one JSON line.
-- BENCH_KEYS names a file of keys that are used in turn; BENCH_PAUSE_MS is the mean pause of a connection between two requests.
local body = io.open(os.getenv("BENCH_BODY")):read("*a")
wrk.method, wrk.body = "POST", body
wrk.headers["X-API-Key"] = os.getenv("BENCH_KEY")
wrk.headers["Content-Type"] = "application/json"

local pause = tonumber(os.getenv("BENCH_PAUSE_MS"))
if pause then
  delay = function() return math.random(0, 2 * pause) end
end

if os.getenv("BENCH_KEYS") then
  local requests, at = {}, 0
  init = function()
    for key in io.lines(os.getenv("BENCH_KEYS")) do
      wrk.headers["X-API-Key"] = key
      requests[#requests + 1] = wrk.format()
    end
  end
  request = function()
    at = at % #requests + 1
    return requests[at]
  end
end

done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"duration_us":%d,"errors":%d,"not_2xx":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(50), latency:percentile(99)))
end
