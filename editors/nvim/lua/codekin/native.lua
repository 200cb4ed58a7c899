---Suggestions that Neovim draws itself, from 0.12 on: `vim.lsp.inline_completion`.
---
---It has no words for a part of a suggestion: such a part is put in by hand in place of the whole, and what
---is left is asked for again as the cursor moves.
local client_of = require("codekin.client").get
local switches = require("codekin.switches")
local text = require("codekin.text")

local M = {}

---@return boolean
function M.exists()
  return vim.lsp.inline_completion ~= nil
end

---Serves a buffer, if suggestions are wanted in its filetype.
---@param buffer integer
function M.attach(buffer)
  vim.lsp.inline_completion.enable(switches.on(vim.bo[buffer].filetype), { bufnr = buffer })
end

---The switches have changed: looks at every buffer again.
function M.refresh()
  local client = client_of()
  for buffer in pairs(client and client.attached_buffers or {}) do
    M.attach(buffer)
  end
end

---Tells the server what became of a suggestion.
---@param item { client_id: integer, command?: lsp.Command }
---@param event string
---@param more? table
local function notify_server(item, event, more)
  local client = vim.lsp.get_client_by_id(item.client_id)
  local about = item.command and item.command.arguments and item.command.arguments[1]
  if client and about then
    client:notify("codekin/" .. event, vim.tbl_extend("force", { id = about.id }, more or {}))
  end
end

---@param client_id integer
---@return string
local function encoding_of(client_id)
  local client = vim.lsp.get_client_by_id(client_id)
  return client and client.offset_encoding or "utf-16"
end

---Where a `vim.Range` begins, counted from 0: its fields were named otherwise before 0.12 was released.
---@param range table
---@return integer row
---@return integer column
local function start_of(range)
  return range.start_row or range.start.row, range.start_col or range.start.col
end

---Takes the whole, or puts in what `cut` takes of what is still to be typed.
---@param cut? fun(rest: string): string
---@return boolean
function M.accept(cut)
  return vim.lsp.inline_completion.get(cut and {
    on_accept = function(item)
      local row, column = unpack(vim.api.nvim_win_get_cursor(0))
      local from_row, from_column = row - 1, column
      if item.range then
        from_row, from_column = start_of(item.range)
      end
      local whole = type(item.insert_text) == "string" and item.insert_text or item.insert_text.value
      local typed = from_row == row - 1 and math.max(column - from_column, 0) or 0
      local accepted = cut(whole:sub(typed + 1))
      vim.api.nvim_paste(accepted, false, -1)
      if #whole == typed + #accepted then
        notify_server(item, "didAccept")
      else
        local length = text.units(whole:sub(1, typed + #accepted), encoding_of(item.client_id))
        notify_server(item, "didPartiallyAccept", { acceptedLength = length })
      end
    end,
  })
end

---@param step integer
---@return boolean
function M.cycle(step)
  vim.lsp.inline_completion.select({ count = step })
  return true
end

---Takes it off the screen: what is accepted by doing nothing is gone.
---@return boolean
function M.dismiss()
  return vim.lsp.inline_completion.get({
    on_accept = function(item)
      notify_server(item, "didReject")
    end,
  })
end

---Asks now, as Neovim does when the cursor moves; false where suggestions are off.
---@return boolean
function M.trigger()
  local group = "nvim.lsp.inline_completion:" .. vim.api.nvim_get_current_buf()
  return (pcall(vim.api.nvim_exec_autocmds, "CursorMovedI", { group = group, buffer = 0 }))
end

---@return boolean
function M.visible()
  local space = vim.api.nvim_create_namespace("nvim.lsp.inline_completion")
  return #vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { limit = 1 }) > 0
end

return M
