---What the user may choose. Nothing has to be chosen: the defaults work without `setup()`.
local M = {}

---@class codekin.Config
---@field ghost_text boolean draw suggestions while typing
---@field filetypes_off string[] filetypes without suggestions
---@field debounce integer milliseconds of quiet before a suggestion is asked for
---@field next_edit boolean show after an edit where the same must be done
---@field lens boolean keep the lenses "3 similar" up to date
---@field results "quickfix"|"picker"|"preview" where found places are shown
---@field picker "auto"|"snacks"|"telescope"|"fzf-lua"|"select" which picker, where one is used
---@field limit integer how many places are asked for

---@type codekin.Config
M.defaults = {
  ghost_text = true,
  filetypes_off = {},
  debounce = 75,
  next_edit = true,
  lens = true,
  results = "quickfix",
  picker = "auto",
  limit = 20,
}

---@type codekin.Config
M.values = vim.deepcopy(M.defaults)

---Takes the user's choices over the defaults; a wrong one is told and left out.
---@param options? table
function M.set(options)
  M.values = vim.deepcopy(M.defaults)
  for key, value in pairs(options or {}) do
    local default = M.defaults[key]
    if default == nil then
      M.complain(("there is no option %q; see :help codekin-options"):format(key))
    elseif type(value) ~= type(default) then
      M.complain(("%s must be a %s, not %s"):format(key, type(default), vim.inspect(value)))
    else
      M.values[key] = value
    end
  end
end

---@param problem string
function M.complain(problem)
  vim.notify("Codekin: " .. problem .. ".", vim.log.levels.WARN)
end

return M
