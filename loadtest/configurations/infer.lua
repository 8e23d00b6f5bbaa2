-- wrk: POST the bytes of one file over and over, and say at the end what came of it in one line of JSON.
-- With LOADTEST_UNIQUE (eight characters) the last sixteen bytes are these and a count: no request is like another.
local file = assert(io.open(os.getenv("LOADTEST_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()

local unique = os.getenv("LOADTEST_UNIQUE")
if unique then
   local front, count = wrk.body:sub(1, -17) .. unique, 0
   function request()
      count = count + 1
      return wrk.format(nil, nil, nil, front .. string.format("%08x", count))
   end
end

function done(summary)
   local failed = summary.errors
   io.write(string.format('RESULT {"requests": %d, "microseconds": %d, "errors": %d}\n', summary.requests, summary.duration,
      failed.connect + failed.read + failed.write + failed.timeout + failed.status))
end
