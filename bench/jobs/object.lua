-- Objects of many users for wrk. The requests are made before the measurement, because wrk has to share the machine with the server.
local objects, users = 10000, 1000
local threads, requests, turn = 0, {}, 0

function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end

function init()
  for i = 1, objects do
    requests[i] = wrk.format("POST", "/object-storage?userId=" .. i % users, {["Content-Type"] = "application/json"},
      string.format('{"objectId":"%d-%d","sizeInByte":1000000,"bucketName":"bucket-1","fileName":"f1.png"}', seed, i))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
