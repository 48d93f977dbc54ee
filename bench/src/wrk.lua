-- What wrk found, as one line of JSON. PAUSE_MS is replaced: the mean pause of a connection between two requests.
local pause = PAUSE_MS

if pause > 0 then
  init = function() math.randomseed(1) end
  -- Uniform, so that the connections do not march in step.
  delay = function() return math.random(0, 2 * pause) end
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
    '"p50_us":%.0f,"p90_us":%.0f,"p99_us":%.0f,"max_us":%.0f}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status,
    errors.timeout, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
