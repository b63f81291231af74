-- Orders for wrk: bids of many users at many prices, and after every 19 a sale of what they asked for, so that the book stays as deep as it was.
-- The requests are made before the measurement, because wrk has to share the machine with the server.
local rounds, bids, users, prices = 500, 19, 10000, 1000
local threads, requests, turn = 0, {}, 0

function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end

local function order(path, format, ...)
  requests[#requests + 1] = wrk.format("POST", path, {["Content-Type"] = "application/json"}, string.format(format, ...))
end

function init()
  math.randomseed(seed)
  for _ = 1, rounds do
    local sum = 0
    for _ = 1, bids do
      local volume = math.random(1, 100)
      sum = sum + volume
      order("/buy", '{"username":"user-%d","volume":%d,"price":%d}', math.random(1, users), volume, math.random(1, prices))
    end
    order("/sell", '{"volume":%d}', sum)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
