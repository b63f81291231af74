-- What the ledger holds about one key, and the steps of lease.Entry on it; every other script but beat.lua begins with this one.
--
-- All numbers are whole and below 2^53, so Lua's doubles hold them exactly. A limit's T is p/q microseconds, its size burst+1.
-- A value is "tat rest den slot cur prev", or "tat" alone where there is no fraction and no token is out.
local SLOT = 1000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function less(aw, ar, bw, br)
  return aw < bw or aw == bw and ar < br
end

-- times returns n*T as whole microseconds and a rest over q.
local function times(i, n)
  local x = n * i.p
  local rest = math.fmod(x, i.q)
  return (x - rest) / i.q, rest
end

-- floor applies TAT >= at + out*T. Under a new limit more may be out than a whole allowance.
local function floor(e, i, at, out)
  local whole, rest = 0, 0
  if out > 0 then whole, rest = times(i, math.min(out, i.size)) end
  if less(e.tat, e.rest, at + whole, rest) then
    e.tat, e.rest = at + whole, rest
  end
end

-- load returns the entry of a key, brought up to now.
local function load(key, i)
  local e = {tat = 0, rest = 0, slot = 0, cur = 0, prev = 0}
  local value = redis.call('GET', key)
  if value then
    e.tat = tonumber(value)
    if not e.tat then
      local den
      e.tat, e.rest, den, e.slot, e.cur, e.prev = string.match(value, '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)')
      e.tat, e.rest, e.slot, e.cur, e.prev = tonumber(e.tat), tonumber(e.rest), tonumber(e.slot), tonumber(e.cur), tonumber(e.prev)
      if tonumber(den) ~= i.q then -- another limit's fraction
        if e.rest > 0 then e.tat = e.tat + 1 end
        e.rest = 0
      end
    end
  end
  local slot = math.max(math.floor(now / SLOT), e.slot)
  if e.cur + e.prev > 0 then
    if slot > e.slot then
      floor(e, i, (e.slot + 1) * SLOT, e.cur + e.prev)
      e.prev, e.cur = e.cur, 0
    end
    if slot > e.slot + 1 then
      floor(e, i, (e.slot + 2) * SLOT, e.prev)
      e.prev = 0
    end
  end
  e.slot = slot
  floor(e, i, now, e.cur + e.prev)
  return e
end

-- charge adds a span to the TAT.
local function charge(e, i, whole, rest)
  e.tat, e.rest = e.tat + whole, e.rest + rest
  if e.rest >= i.q then
    e.tat, e.rest = e.tat + 1, e.rest - i.q
  end
end

-- save keeps the entry until a second after its debt is paid and its leases have ended: from then on it says nothing.
local function save(key, e, i)
  local keep, value = e.tat - now, nil
  if e.cur + e.prev > 0 then
    keep = math.max(keep, (e.slot + 2) * SLOT - now)
  elseif keep <= 0 and e.rest == 0 then
    redis.call('DEL', key)
    return
  end
  if e.rest == 0 and e.cur + e.prev == 0 then
    value = string.format('%.0f', e.tat)
  else
    value = string.format('%.0f %.0f %.0f %.0f %.0f %.0f', e.tat, e.rest, i.q, e.slot, e.cur, e.prev)
  end
  redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil(keep / 1000) + 1000))
end
