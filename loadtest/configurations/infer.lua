-- wrk: POST the bytes of one file over and over, and say at the end what came of it in one line of JSON.
local file = assert(io.open(os.getenv("LOADTEST_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()

function done(summary)
   local failed = summary.errors
   io.write(string.format('RESULT {"requests": %d, "microseconds": %d, "errors": %d}\n', summary.requests, summary.duration,
      failed.connect + failed.read + failed.write + failed.timeout + failed.status))
end
