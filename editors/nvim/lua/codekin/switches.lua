---Whether suggestions are wanted: everywhere, and in each filetype.
local config = require("codekin.config")

local M = {}

local all = true
local filetypes = {} ---@type table<string, boolean> as switched by hand

---@param filetype string
---@return boolean
local function chosen(filetype)
  if filetypes[filetype] ~= nil then
    return filetypes[filetype]
  end
  return not vim.list_contains(config.values.filetypes_off, filetype)
end

---@return boolean whether any may be shown at all
function M.enabled()
  return config.values.ghost_text and all
end

---@param filetype string
---@return boolean
function M.on(filetype)
  return M.enabled() and chosen(filetype)
end

---Switches them on or off, everywhere or for one filetype.
---@param filetype? string
---@return boolean on
function M.toggle(filetype)
  if filetype then
    filetypes[filetype] = not chosen(filetype)
    return filetypes[filetype]
  end
  all = not all
  return all
end

return M
