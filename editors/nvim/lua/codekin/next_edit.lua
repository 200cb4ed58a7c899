---After an edit: where must the same be done? Shows the likeliest place as a diff, in normal mode only.
---
---While one is shown, <Tab> goes there, or takes it where the cursor is there already, and <Esc> dismisses it. Insert
---mode belongs to the ghost text.
local client_of = require("codekin.client").get
local config = require("codekin.config")
local text = require("codekin.text")

local M = {}

local DELAY = 150 -- milliseconds of quiet before the server is asked

local space = vim.api.nvim_create_namespace("codekin.next_edit")
local timer = assert(vim.uv.new_timer())
local shown = nil ---@type { client: vim.lsp.Client, edit: table, buffers: integer[] }?
local pending = nil ---@type { client: vim.lsp.Client, id: integer }?

local function clear()
  for _, buffer in ipairs(shown and shown.buffers or {}) do
    if vim.api.nvim_buf_is_valid(buffer) then
      vim.api.nvim_buf_clear_namespace(buffer, space, 0, -1)
      for _, key in ipairs({ "<Tab>", "<Esc>" }) do
        pcall(vim.keymap.del, "n", key, { buffer = buffer })
      end
    end
  end
  shown = nil
end

---@param buffer integer
local function set_keys(buffer)
  if vim.list_contains(shown.buffers, buffer) then
    return
  end
  table.insert(shown.buffers, buffer)
  local function map(key, call, about)
    if vim.fn.maparg(key, "n", false, true).buffer ~= 1 then
      vim.keymap.set("n", key, call, { buffer = buffer, nowait = true, desc = "Codekin: " .. about })
    end
  end
  map("<Tab>", M.accept, "go to the next edit, or take it")
  map("<Esc>", M.dismiss, "dismiss the next edit")
end

---@param lines string[]
---@param group string
---@return table[]
local function virtual(lines, group)
  return vim.tbl_map(function(line)
    return { { line == "" and " " or line, group } }
  end, text.display_lines(table.concat(lines, "\n"), vim.bo.tabstop))
end

---Draws the old lines as deleted and the new ones below them; from elsewhere, a pointer at the cursor.
local function draw()
  local edit, here = shown.edit, vim.api.nvim_get_current_buf()
  local buffer = vim.uri_to_bufnr(edit.textDocument.uri)
  local first, last = edit.range.start.line, edit.range["end"].line
  set_keys(here)
  if vim.api.nvim_buf_is_loaded(buffer) then
    local count = vim.api.nvim_buf_line_count(buffer)
    local new = edit.text ~= "" and virtual(vim.split((edit.text:gsub("\n$", "")), "\n"), "CodekinNextEdit") or nil
    if edit.oldText ~= "" then
      last = edit.range["end"].character == 0 and last - 1 or last
      for row = first, math.min(last, count - 1) do
        vim.api.nvim_buf_set_extmark(buffer, space, row, 0, { line_hl_group = "CodekinNextEditOld" })
      end
      vim.api.nvim_buf_set_extmark(buffer, space, math.min(last, count - 1), 0, { virt_lines = new })
    else
      local row = math.min(first, count - 1)
      vim.api.nvim_buf_set_extmark(buffer, space, row, 0, { virt_lines = new, virt_lines_above = first < count })
    end
    table.insert(shown.buffers, buffer)
  end
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  local visible = buffer == here and first + 1 >= vim.fn.line("w0") and first + 1 <= vim.fn.line("w$")
  if not visible then
    local name = vim.fn.fnamemodify(vim.uri_to_fname(edit.textDocument.uri), ":t")
    local pointer = ("  next edit: %s:%d"):format(name, first + 1)
    vim.api.nvim_buf_set_extmark(here, space, row, 0, { virt_text = { { pointer, "CodekinGhost" } } })
  end
end

---@return boolean
local function wanted()
  return config.values.next_edit and vim.api.nvim_get_mode().mode == "n"
end

local function request()
  local buffer = vim.api.nvim_get_current_buf()
  local client = client_of(buffer)
  if not client or not client.attached_buffers[buffer] then
    return
  end
  local tick = vim.api.nvim_buf_get_changedtick(buffer)
  local params = { textDocument = vim.lsp.util.make_text_document_params(buffer) }
  local _, id = client:request("codekin/nextEdit", params, function(error, result)
    pending = nil
    local edit = not error and result and result.edits[1]
    local current = buffer == vim.api.nvim_get_current_buf() and tick == vim.api.nvim_buf_get_changedtick(buffer)
    if edit and current and wanted() then
      clear()
      shown = { client = client, edit = edit, buffers = {} }
      draw()
    end
  end, buffer)
  pending = id and { client = client, id = id }
end

local function cancel_pending()
  timer:stop()
  if pending then
    pending.client:cancel_request(pending.id)
    pending = nil
  end
end

local function ask_soon()
  cancel_pending()
  clear()
  if config.values.next_edit then
    timer:start(DELAY, 0, vim.schedule_wrap(function()
      if wanted() then
        request()
      end
    end))
  end
end

---Serves a buffer.
---@param buffer integer
function M.attach(buffer)
  local group = vim.api.nvim_create_augroup("codekin.next_edit." .. buffer, { clear = true })
  vim.api.nvim_create_autocmd({ "TextChanged", "InsertLeave" }, { group = group, buffer = buffer, callback = ask_soon })
  vim.api.nvim_create_autocmd("InsertEnter", {
    group = group,
    buffer = buffer,
    callback = function()
      cancel_pending()
      clear()
    end,
  })
end

---Whether the cursor is in the lines of the shown edit.
---@param edit table
---@return boolean
local function is_there(edit)
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  local same = vim.api.nvim_get_current_buf() == vim.uri_to_bufnr(edit.textDocument.uri)
  return same and row >= math.min(edit.range.start.line, vim.api.nvim_buf_line_count(0) - 1) and row <= edit.range["end"].line
end

---Goes to the shown edit; where the cursor is there already, takes it as one step of undo. False where none is shown.
---@return boolean
function M.accept()
  if not shown then
    return false
  end
  local client, edit = shown.client, shown.edit
  if is_there(edit) then
    clear()
    vim.cmd("let &g:undolevels = &g:undolevels") -- begins a new undo step
    local change = { range = edit.range, newText = edit.text }
    vim.lsp.util.apply_text_edits({ change }, vim.api.nvim_get_current_buf(), client.offset_encoding)
    ask_soon()
    return true
  end
  vim.cmd("normal! m'") -- CTRL-O leads back
  local buffer = vim.uri_to_bufnr(edit.textDocument.uri)
  clear()
  if buffer ~= vim.api.nvim_get_current_buf() then
    vim.cmd.edit(vim.fn.fnameescape(vim.uri_to_fname(edit.textDocument.uri)))
  end
  local row = math.min(edit.range.start.line + 1, vim.api.nvim_buf_line_count(0))
  vim.api.nvim_win_set_cursor(0, { row, 0 })
  vim.cmd("normal! ^zv")
  shown = { client = client, edit = edit, buffers = {} }
  draw()
  return true
end

---Takes the shown edit off the screen for good; false where none is shown.
---@return boolean
function M.dismiss()
  if not shown then
    return false
  end
  shown.client:notify("codekin/dismissNextEdit", { id = shown.edit.id })
  clear()
  return true
end

---Whether one is shown.
---@return boolean
function M.visible()
  return shown ~= nil
end

return M
