-- Sends a number of requests, waits for their replies, and ends wrk.
-- Arguments: requests, connections, file of the body.
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int, int); int usleep(unsigned);")
local SIGINT = 2

local message, requests, connections
-- wrk parses the first request and does not send it.
local asked = -1

function init(args)
  requests, connections = tonumber(args[1]), tonumber(args[2])
  local file = assert(io.open(args[3], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  message = wrk.format()
end

function request()
  asked = asked + 1
  if asked == 1 then
    -- The main thread does not take SIGINT before this thread has waited once.
    ffi.C.usleep(1000)
  end
  if asked <= requests then
    return message
  end
  -- A connection asks again once it has its reply. The last one ends the process.
  if asked == requests + connections then
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), SIGINT)
  end
  return ""
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local text = "%d replies, %d failed, %d B, %d us\n"
  io.write(text:format(summary.requests, failed, summary.bytes, summary.duration))
end
