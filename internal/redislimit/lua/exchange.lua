-- Settles, renews, returns and takes tokens of one key: lease.Entry.Exchange.
--   ARGV: p, q, size, and size*T as whole microseconds and a rest over q; slot, settle, carry; back*T in the same way; need, want, and need*T
--   reply: granted, carried, the debt, slot, the lease's lifetime in microseconds, now
local i = {p = tonumber(ARGV[1]), q = tonumber(ARGV[2]), size = tonumber(ARGV[3])}
local sizeWhole, sizeRest = tonumber(ARGV[4]), tonumber(ARGV[5])
local slot, settle, carry = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local backWhole, backRest = tonumber(ARGV[9]), tonumber(ARGV[10])
local need, want, needWhole, needRest = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])

-- minus returns a-b, or 0 where that is negative.
local function minus(aw, ar, bw, br)
  if less(aw, ar, bw, br) then return 0, 0 end
  aw, ar = aw - bw, ar - br
  if ar < 0 then aw, ar = aw - 1, ar + i.q end
  return aw, ar
end

local e = load(KEYS[1], i)

local carried, alive = 0, true
if slot == e.slot then
  e.cur, carried = math.max(0, e.cur - settle) + carry, carry
elseif slot == e.slot - 1 then
  e.prev, e.cur, carried = math.max(0, e.prev - settle), e.cur + carry, carry
else
  alive = slot == -1 -- a refund; a lease that has ended returns nothing
end

if alive then
  e.tat, e.rest = minus(e.tat, e.rest, backWhole, backRest)
end
floor(e, i, now, e.cur + e.prev)

local granted = 0
charge(e, i, needWhole, needRest)
if less(sizeWhole, sizeRest, e.tat - now, e.rest) then
  e.tat, e.rest = minus(e.tat, e.rest, needWhole, needRest)
else
  granted = need
  if want > 0 then -- then size*p is below 2^53
    local room, rest = minus(sizeWhole, sizeRest, e.tat - now, e.rest)
    local x = room * i.q + rest
    local left = (x - math.fmod(x, i.p)) / i.p
    local extra = left
    if left > math.floor(want / 2) then
      extra = math.min(want, math.floor((left + 1) / 2))
    end
    charge(e, i, times(i, extra))
    e.cur, granted = e.cur + extra, granted + extra
  end
end

save(KEYS[1], e, i)
return {granted, carried, e.tat - now, e.rest, e.slot, math.min((e.slot + 2) * SLOT - now, 2 * SLOT), now}
