-- Pure functions of the plugin; run by `nvim --headless --clean -l text_spec.lua`.

vim.opt.runtimepath:prepend(vim.env.CODEKIN_PLUGIN)
local text = require("codekin.text")

local failures = 0

---@param about string
---@param expected any
---@param actual any
local function check(about, expected, actual)
  if not vim.deep_equal(expected, actual) then
    failures = failures + 1
    print(("%s: expected %s, got %s"):format(about, vim.inspect(expected), vim.inspect(actual)))
  end
end

for given, word in pairs({
  ["foo bar"] = "foo",
  ["  foo bar"] = "  foo",
  ["(a)"] = "(",
  ["|> map"] = "|>",
  ["söß x"] = "söß",
  ["\n  one two"] = "\n  one",
  ["   "] = "   ",
  ["foo_bar.baz"] = "foo_bar",
}) do
  check("first_word of " .. vim.inspect(given), word, text.first_word(given))
end

for given, line in pairs({ ["a\nb"] = "a", ["\n  b\nc"] = "\n  b", ["\n\nb"] = "\n", ["a"] = "a" }) do
  check("first_line of " .. vim.inspect(given), line, text.first_line(given))
end

for given, name in pairs({
  ["Shop.Retry.again/3"] = "again/3",
  ["Shop.Retry"] = "Retry",
  ["Shop.RetryTest.test reads like Enum.map"] = "test reads like Enum.map",
  ["(anonymous namespace)::Ring::put"] = "put",
  ["Set::operator<a::B>"] = "operator<a::B>",
  ["main"] = "main",
  [""] = "",
}) do
  check("short_name of " .. given, name, text.short_name(given))
end

for encoding, column in pairs({ ["utf-8"] = 7, ["utf-16"] = 4, ["utf-32"] = 3 }) do
  check("byte_column in " .. encoding, 7, text.byte_column("é🙂bc", column, encoding))
  check("units in " .. encoding, column, text.units("é🙂b", encoding))
  check("byte_column beyond the end in " .. encoding, 8, text.byte_column("é🙂bc", 99, encoding))
end

check("display_lines", { "    a", "b" }, text.display_lines("\ta\nb", 4))

local status, notices, notify = require("codekin.status"), {}, vim.notify
vim.notify = function(message)
  notices[#notices + 1] = message
end
for _, state in ipairs({ { "Warning", false }, { "Normal", true }, { "Warning", false }, { "Normal", false }, { "Warning", false } }) do
  status.update({ kind = state[1], busy = state[2], message = state[1], folders = {} })
end
vim.notify = notify
check("what is wrong is told once, and again after all was well", 2, #notices)

os.exit(failures == 0 and 0 or 1)
