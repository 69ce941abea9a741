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

local function parts(entry)
  local ends, amount = string.match(entry, '^(%d+):(%d+)$')
  return tonumber(ends), tonumber(amount)
end
-- What has left a minute; `kind` is 'r' or 'm'.
local function slide(s, kind)
  local list, sum = B .. ':' .. kind .. ':' .. s.name, kind .. 'sum'
  while true do
    local head = redis.call('LINDEX', list, 0)
    if not head then
      s[sum] = 0
      return
    end
    local ends, amount = parts(head)
    if ends > now then return end
    redis.call('LPOP', list)
    s[sum] = s[sum] - amount
  end
end
local function push(s, kind, amount)
  local list, sum = B .. ':' .. kind .. ':' .. s.name, kind .. 'sum'
  local ends = (math.floor(now / 100) + 1) * 100 + MINUTE
  local tail = redis.call('LINDEX', list, -1)
  local last, there = 0, 0
  if tail then last, there = parts(tail) end
  if last == ends then
    redis.call('LSET', list, -1, text(ends) .. ':' .. text(there + amount))
  else
    redis.call('RPUSH', list, text(ends) .. ':' .. text(amount))
    redis.call('PEXPIRE', list, 2 * MINUTE)
  end
  s[sum] = s[sum] + amount
end
-- How long until `amount` of the sum is gone; -1: longer than what is there tells.
local function released(s, kind, amount)
  local sum = 0
  for _, entry in ipairs(redis.call('LRANGE', B .. ':' .. kind .. ':' .. s.name, 0, -1)) do
    local ends, more = parts(entry)
    sum = sum + more
    if sum >= amount then return ends - now end
  end
  return -1
end
local function all_released(s, kind)
  local tail = redis.call('LINDEX', B .. ':' .. kind .. ':' .. s.name, -1)
  if not tail then return 0 end
  return math.max(0, (parts(tail)) - now)
end

-- Subjects are read once, changed here, and written once, by save().
local FIELDS = {'open', 'reserved', 'rsum', 'msum', 'day', 'dtok', 'dmic', 'month', 'mmic'}
local loaded = {}
local function subject(name)
  local s = loaded[name]
  if s then return s end
  s = {name = name}
  local values = redis.call('HMGET', B .. ':s:' .. name, unpack(FIELDS))
  for i, field in ipairs(FIELDS) do s[field] = tonumber(values[i] or 0) end
  -- Into today and this month, never back.
  if today > s.day then s.day, s.dtok, s.dmic = today, 0, 0 end
  if this_month > s.month then s.month, s.mmic = this_month, 0 end
  slide(s, 'r')
  slide(s, 'm')
  loaded[name] = s
  return s
end
local function save()
  for name, s in pairs(loaded) do
    local values = {}
    for _, field in ipairs(FIELDS) do
      values[#values + 1] = field
      values[#values + 1] = text(s[field])
    end
    redis.call('HSET', B .. ':s:' .. name, unpack(values))
    redis.call('PEXPIRE', B .. ':s:' .. name, KEPT)
  end
end

local function to_periods(s, day, month, tokens, micros)
  if day == s.day then s.dtok, s.dmic = s.dtok + tokens, s.dmic + micros end
  if month == s.month then s.mmic = s.mmic + micros end
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
  for _, name in ipairs(r.subjects) do
    local s = subject(name)
    s.open = s.open - 1
    s.reserved = s.reserved - r.tokens
    push(s, 'm', tokens)
    to_periods(s, r.day, r.month, tokens - r.tokens, micros - r.micros)
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
if redis.call('EXISTS', B .. ':x:' .. id) == 1 then return {2} end
sweep()
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
local function wait_for(n, kind, list, used, asked)
  if limits[n][kind] == 0 or used + asked <= limits[n][kind] then return 0 end
  return released(subject(names[n]), list, used + asked - limits[n][kind])
end
for n, name in ipairs(names) do
  local s = subject(name)
  local used = s.msum + s.reserved
  deny(n, 1, s.open, 1, 1000)
  deny(n, 2, s.rsum, 1, wait_for(n, 2, 'r', s.rsum, 1))
  deny(n, 3, used, tokens, wait_for(n, 3, 'm', used, tokens))
  deny(n, 4, s.dtok, tokens, (today + 1) * 86400000 - now)
  deny(n, 5, s.dmic, micros, (today + 1) * 86400000 - now)
  if limits[n][6] > 0 then deny(n, 6, s.mmic, micros, to_next_month()) end
end

if not denial and not again then
  local record = text(tokens) .. ' ' .. text(micros) .. ' ' .. today .. ' ' .. this_month
  for _, name in ipairs(names) do
    local s = subject(name)
    push(s, 'r', 1)
    s.open = s.open + 1
    s.reserved = s.reserved + tokens
    to_periods(s, today, this_month, tokens, micros)
    record = record .. ' ' .. name
  end
  redis.call('HSET', B .. ':o:' .. gateway, id, record)
  redis.call('PEXPIRE', B .. ':o:' .. gateway, LONGER)
end

local out = denial or {0}
for n, name in ipairs(names) do
  local s = subject(name)
  local left = {-1, 0, -1, 0}
  if limits[n][2] > 0 then
    left[1] = math.max(0, limits[n][2] - s.rsum)
    left[2] = all_released(s, 'r')
  end
  if limits[n][3] > 0 then
    left[3] = math.max(0, limits[n][3] - s.msum - s.reserved)
    left[4] = s.reserved > 0 and MINUTE or all_released(s, 'm')
  end
  for i = 1, 4 do out[#out + 1] = left[i] end
end
save()
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
  save()
  return 1
end
record = redis.call('HGET', B .. ':l', id)
if record then
  redis.call('HDEL', B .. ':l', id)
  local r = read_record(record)
  for _, name in ipairs(r.subjects) do
    to_periods(subject(name), r.day, r.month, tokens - r.tokens, micros - r.micros)
  end
  save()
  return 1
end
if not redis.call('SET', B .. ':x:' .. id, '1', 'PX', 600000, 'NX') then return 0 end
for at = 6, #ARGV do
  local s = subject(ARGV[at])
  push(s, 'r', 1)
  push(s, 'm', tokens)
  to_periods(s, today, this_month, tokens, micros)
end
save()
return 1
)lua";

// ARGV: gateway, lease. For a tenant of whom a reservation is open.
inline constexpr std::string_view kRenewScript = R"lua(
keep_lease()
redis.call('PEXPIRE', B .. ':o:' .. gateway, LONGER)
return 1
)lua";

}  // namespace sluice::gateway
