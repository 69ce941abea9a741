// The Lua scripts by which gateways share limits through Redis (5 or newer). Each runs as one step.
//
// KEYS[1] is a tenant's base key B, "prefix:{tenant}": all of a tenant's keys are in one hash slot.
//   B:g         hash: gateway → when its lease ends, in milliseconds
//   B:o:GATEWAY hash: reservation → "tokens micros day month subject [subject]", not settled
//   B:l         hash: the same, of gateways whose lease ended: counted as spent, may still be
//   settled B:x:ID      a reservation that must not be made or charged any more B:s:SUBJECT hash:
//   open, reserved, rsum, msum, day, dtok, dmic, month, mmic B:r:SUBJECT, B:m:SUBJECT  lists of
//   "ends:amount": requests and settled tokens of the minute
// A subject is "t", the tenant, or "k:NAME", one of its keys. Time is Redis's own, for all gateways
// the same. The windows are those of budget.h: a minute slides in steps of 100 ms and counts an
// amount until 60 s after its settlement; days and months are UTC's. Amounts are whole numbers
// below 2^53, which a Lua number holds exactly.
#pragma once

#include <string_view>

namespace sluice::gateway {

// What the scripts below begin with.
inline constexpr std::string_view kSharedLimitsLibrary = R"lua(
local B, gateway, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local today = math.floor(now / 86400000)
local MINUTE, KEPT, LONGER = 60000, 3456000000, 3542400000

local function text(n) return n == 0 and '0' or string.format('%.0f', n) end

-- The civil calendar from days since 1970: the months since then, and the first day of the next.
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) -
                          math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return (year - 1970) * 12 + month - 1
end
local this_month = month_of(today)
local function to_next_month()
  local day = today
  while month_of(day) == this_month do day = day + 1 end
  return day * 86400000 - now
end

local function fields(subject)
  local v = redis.call('HMGET', B .. ':s:' .. subject, 'open', 'reserved', 'rsum', 'msum', 'day',
                       'dtok', 'dmic', 'month', 'mmic')
  for i = 1, 9 do v[i] = tonumber(v[i] or 0) end
  return v
end
local function add(subject, field, amount)
  redis.call('HINCRBY', B .. ':s:' .. subject, field, text(amount))
end

-- Into today and this month, never back.
local function turn(subject)
  local hash = B .. ':s:' .. subject
  local v = fields(subject)
  if today > v[5] then redis.call('HSET', hash, 'day', today, 'dtok', 0, 'dmic', 0) end
  if this_month > v[8] then redis.call('HSET', hash, 'month', this_month, 'mmic', 0) end
end

local function parts(entry)
  local ends, amount = string.match(entry, '^(%d+):(%d+)$')
  return tonumber(ends), tonumber(amount)
end
local function slide(subject, kind)
  local list, gone = B .. ':' .. kind .. ':' .. subject, 0
  while true do
    local head = redis.call('LINDEX', list, 0)
    if not head then
      redis.call('HSET', B .. ':s:' .. subject, kind .. 'sum', 0)
      return
    end
    local ends, amount = parts(head)
    if ends > now then break end
    redis.call('LPOP', list)
    gone = gone + amount
  end
  if gone > 0 then add(subject, kind .. 'sum', -gone) end
end
local function push(subject, kind, amount)
  local list = B .. ':' .. kind .. ':' .. subject
  local ends = (math.floor(now / 100) + 1) * 100 + MINUTE
  local tail = redis.call('LINDEX', list, -1)
  local last, there = 0, 0
  if tail then last, there = parts(tail) end
  if last == ends then
    redis.call('LSET', list, -1, text(ends) .. ':' .. text(there + amount))
  else
    redis.call('RPUSH', list, text(ends) .. ':' .. text(amount))
  end
  redis.call('PEXPIRE', list, 2 * MINUTE)
  add(subject, kind .. 'sum', amount)
end
-- How long until `amount` of the sum is gone; -1: longer than what is there tells.
local function released(subject, kind, amount)
  local sum = 0
  for _, entry in ipairs(redis.call('LRANGE', B .. ':' .. kind .. ':' .. subject, 0, -1)) do
    local ends, more = parts(entry)
    sum = sum + more
    if sum >= amount then return ends - now end
  end
  return -1
end
local function all_released(subject, kind)
  local tail = redis.call('LINDEX', B .. ':' .. kind .. ':' .. subject, -1)
  if not tail then return 0 end
  return math.max(0, (parts(tail)) - now)
end

local function to_periods(subject, day, month, tokens, micros)
  local v = fields(subject)
  if day == v[5] then
    add(subject, 'dtok', tokens)
    add(subject, 'dmic', micros)
  end
  if month == v[8] then add(subject, 'mmic', micros) end
end
local function read_record(record)
  local words = {}
  for word in string.gmatch(record, '%S+') do words[#words + 1] = word end
  local out = {tokens = tonumber(words[1]), micros = tonumber(words[2]), day = tonumber(words[3]),
               month = tonumber(words[4]), subjects = {}}
  for i = 5, #words do out.subjects[i - 4] = words[i] end
  return out
end
-- A reservation ends, with what it used in its place.
local function release(record, tokens, micros)
  local r = read_record(record)
  for _, subject in ipairs(r.subjects) do
    turn(subject)
    slide(subject, 'm')
    add(subject, 'open', -1)
    add(subject, 'reserved', -r.tokens)
    push(subject, 'm', tokens)
    to_periods(subject, r.day, r.month, tokens - r.tokens, micros - r.micros)
    redis.call('PEXPIRE', B .. ':s:' .. subject, KEPT)
  end
end

local function keep_lease()
  redis.call('HSET', B .. ':g', gateway, text(now + lease))
  redis.call('PEXPIRE', B .. ':g', LONGER)
end
-- What gateways that have gone had reserved is spent; their places are free.
local function sweep()
  local all = redis.call('HGETALL', B .. ':g')
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) <= now then
      local open = B .. ':o:' .. all[i]
      local records = redis.call('HGETALL', open)
      for j = 1, #records, 2 do
        local r = read_record(records[j + 1])
        release(records[j + 1], r.tokens, r.micros)
        redis.call('HSET', B .. ':l', records[j], records[j + 1])
        redis.call('PEXPIRE', B .. ':l', 3600000)
      end
      redis.call('DEL', open)
      redis.call('HDEL', B .. ':g', all[i])
    end
  end
end
)lua";

// ARGV: gateway, lease, id, tokens, micros, then for each subject its name and its limits (0: none)
// concurrency, requests a minute, tokens a minute, tokens a day, money a day, money a month.
// Replies {0, left…}, {1, subject, limit, allowed, used, asked, wait (-1: never), left…} or {2}:
// this reservation was given up. `left`, for each subject: requests left, all of them back in,
// tokens left, all of them back in; -1: no limit. Subjects count from 1, limits as above,
// milliseconds.
inline constexpr std::string_view kReserveScript = R"lua(
local id, tokens, micros = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
keep_lease()
sweep()
if redis.call('EXISTS', B .. ':x:' .. id) == 1 then return {2} end
local again = redis.call('HEXISTS', B .. ':o:' .. gateway, id) == 1
local names, limits, denial = {}, {}, nil
for at = 6, #ARGV, 7 do
  local n = #names + 1
  names[n] = ARGV[at]
  limits[n] = {}
  for i = 1, 6 do limits[n][i] = tonumber(ARGV[at + i]) end
end

local function deny(n, kind, used, asked, wait)
  local allowed = limits[n][kind]
  if denial or again or allowed == 0 or used + asked <= allowed then return end
  if asked > allowed then wait = -1 elseif wait < 0 then wait = MINUTE end
  denial = {1, n, kind, allowed, used, asked, wait}
end
local function wait_for(n, kind, list, sum, used, asked)
  if limits[n][kind] == 0 or used + asked <= limits[n][kind] then return 0 end
  return released(names[n], list, used + asked - limits[n][kind])
end
for n, subject in ipairs(names) do
  turn(subject)
  slide(subject, 'r')
  slide(subject, 'm')
  local v = fields(subject)
  local used = v[4] + v[2]
  deny(n, 1, v[1], 1, 1000)
  deny(n, 2, v[3], 1, wait_for(n, 2, 'r', v[3], v[3], 1))
  deny(n, 3, used, tokens, wait_for(n, 3, 'm', v[4], used, tokens))
  deny(n, 4, v[6], tokens, (today + 1) * 86400000 - now)
  deny(n, 5, v[7], micros, (today + 1) * 86400000 - now)
  if limits[n][6] > 0 then deny(n, 6, v[9], micros, to_next_month()) end
end

if not denial and not again then
  local record = text(tokens) .. ' ' .. text(micros) .. ' ' .. today .. ' ' .. this_month
  for _, subject in ipairs(names) do
    push(subject, 'r', 1)
    add(subject, 'open', 1)
    add(subject, 'reserved', tokens)
    to_periods(subject, today, this_month, tokens, micros)
    redis.call('PEXPIRE', B .. ':s:' .. subject, KEPT)
    record = record .. ' ' .. subject
  end
  redis.call('HSET', B .. ':o:' .. gateway, id, record)
  redis.call('PEXPIRE', B .. ':o:' .. gateway, LONGER)
end

local out = denial or {0}
for n, subject in ipairs(names) do
  local v = fields(subject)
  local left = {-1, 0, -1, 0}
  if limits[n][2] > 0 then
    left[1] = math.max(0, limits[n][2] - v[3])
    left[2] = all_released(subject, 'r')
  end
  if limits[n][3] > 0 then
    left[3] = math.max(0, limits[n][3] - v[4] - v[2])
    left[4] = v[2] > 0 and MINUTE or all_released(subject, 'm')
  end
  for i = 1, 4 do out[#out + 1] = left[i] end
end
return out
)lua";

// ARGV: gateway, lease, id, tokens, micros, then the subjects to be charged if there is no such
// reservation: what was used while Redis could not be asked. Once for an id.
inline constexpr std::string_view kSettleScript = R"lua(
local id, tokens, micros = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
keep_lease()
local open = B .. ':o:' .. gateway
local record = redis.call('HGET', open, id)
if record then
  redis.call('HDEL', open, id)
  release(record, tokens, micros)
  return 1
end
record = redis.call('HGET', B .. ':l', id)
if record then
  redis.call('HDEL', B .. ':l', id)
  local r = read_record(record)
  for _, subject in ipairs(r.subjects) do
    turn(subject)
    to_periods(subject, r.day, r.month, tokens - r.tokens, micros - r.micros)
  end
  return 1
end
if not redis.call('SET', B .. ':x:' .. id, '1', 'PX', 600000, 'NX') then return 0 end
for at = 6, #ARGV do
  local subject = ARGV[at]
  turn(subject)
  slide(subject, 'r')
  slide(subject, 'm')
  push(subject, 'r', 1)
  push(subject, 'm', tokens)
  to_periods(subject, today, this_month, tokens, micros)
  redis.call('PEXPIRE', B .. ':s:' .. subject, KEPT)
end
return 1
)lua";

// ARGV: gateway, lease. For a tenant of whom a reservation is open.
inline constexpr std::string_view kRenewScript = R"lua(
keep_lease()
redis.call('PEXPIRE', B .. ':o:' .. gateway, LONGER)
return 1
)lua";

}  // namespace sluice::gateway
