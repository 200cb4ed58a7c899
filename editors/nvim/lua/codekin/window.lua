---A window below for a few lines of words; `q` closes it.
local M = {}

---@param title string
---@param lines string[]
function M.show(title, lines)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].bufhidden, vim.bo[buffer].modifiable = "wipe", false
  vim.cmd(("botright %dsplit"):format(math.min(#lines + 1, 15)))
  vim.api.nvim_win_set_buf(0, buffer)
  vim.wo.winbar = title
  vim.keymap.set("n", "q", "<Cmd>close<CR>", { buffer = buffer, nowait = true })
end

return M
