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

---Takes a new state in; what is wrong is told once.
---@param status codekin.Status
function M.update(status)
  local before = M.current
  M.current = status
  local is_known = before and before.kind == status.kind and before.message == status.message
  if WRONG[status.kind] and not is_known then
    vim.notify(WRONG[status.kind]:format(status.message), vim.log.levels.WARN)
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
