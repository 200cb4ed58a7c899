---What the server last said of itself, and a line of it for the statusline.
local M = {}

---@class codekin.Status
---@field busy boolean
---@field message string
---@field kind "Normal"|"Error"|"Warning"|"Inactive"
---@field folders table[]

---@type codekin.Status?
M.current = nil

---What is wrong, with what to do about it; what heals by itself needs nothing.
---@type table<string, string>
local WRONG = { Error = "Codekin: %s", Warning = "Codekin: %s See :checkhealth codekin." }

---What was reported of what is wrong, until all is well.
---@type table<string, boolean>
local reported = {}

---Takes a new state in; what is wrong is reported once, though there be work or another problem in between.
---@param status codekin.Status
function M.update(status)
  M.current = status
  local wrong = WRONG[status.kind] and WRONG[status.kind]:format(status.message)
  if wrong and not reported[wrong] then
    reported[wrong] = true
    vim.notify(wrong, vim.log.levels.WARN)
  elseif status.kind == "Normal" and not status.busy then
    reported = {}
  end
  vim.api.nvim_exec_autocmds("User", { pattern = "CodekinStatus", data = status })
  vim.cmd.redrawstatus()
end

---@return string
function M.line()
  if not M.current or not vim.lsp.get_clients({ name = "codekin" })[1] then
    return ""
  end
  local status = M.current
  if status.kind == "Normal" and not status.busy then
    return "Codekin"
  end
  local mark = ({ Error = "✗ ", Warning = "! ", Inactive = "- ", Normal = "… " })[status.kind] or ""
  return ("Codekin %s%s"):format(mark, status.message)
end

return M
