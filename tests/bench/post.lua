-- wrk: the POST of the comparison, and its figures as one JSON line.
local body = io.open(os.getenv("BENCH_BODY")):read("*a")
wrk.method, wrk.body = "POST", body
wrk.headers["X-API-Key"] = os.getenv("BENCH_KEY")
wrk.headers["Content-Type"] = "application/json"

done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"duration_us":%d,"errors":%d,"not_2xx":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(50), latency:percentile(99)))
end
