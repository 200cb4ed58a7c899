---Suggestions as ghost text, for a Neovim that has no `vim.lsp.inline_completion` of its own.
---
---One suggestion is on the screen at a time. Typing along it costs no request; anything else
---takes it away. Columns are bytes, rows count from 0.
local client_of = require("codekin.client").get
local config = require("codekin.config")
local switches = require("codekin.switches")
local text = require("codekin.text")

local M = {}

---@class codekin.Ghost
---@field buffer integer
---@field client vim.lsp.Client
---@field row integer
---@field column integer where in this row the suggestion begins
---@field before string the line's text before that
---@field typed string what of the suggestion stood before the cursor when it was asked for
---@field taken integer bytes of the suggestion in the rows above
---@field after string the line's text after the cursor when it was asked for
---@field replaced integer bytes after the cursor that the suggestion replaces
---@field items table[] the server's items
---@field index integer which of them is shown
---@field complete boolean whether all alternatives were asked for

local INVOKED, AUTOMATIC = 1, 2
local space = vim.api.nvim_create_namespace("codekin.ghost")
local timer = assert(vim.uv.new_timer())
local ghost = nil ---@type codekin.Ghost?
local put = nil ---@type fun()? puts in what was taken while the text was locked
local pending = nil ---@type { client: vim.lsp.Client, id: integer }?

---@param name string
---@param about table
local function notify_server(name, about)
  if ghost then
    ghost.client:notify("codekin/" .. name, about)
  end
end

---@return string? id of the shown suggestion
local function shown_id()
  local command = ghost and ghost.items[ghost.index].command
  return command and command.arguments and command.arguments[1] and command.arguments[1].id
end

local function clear()
  if ghost and vim.api.nvim_buf_is_valid(ghost.buffer) then
    vim.api.nvim_buf_clear_namespace(ghost.buffer, space, 0, -1)
  end
  ghost = nil
end

local function cancel_pending()
  timer:stop()
  if pending then
    pending.client:cancel_request(pending.id)
    pending = nil
  end
end

---What of the suggestion is still to be typed; nil where the text went another way.
---@return string? rest
---@return integer column of the cursor
local function remainder()
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  if not ghost or ghost.buffer ~= vim.api.nvim_get_current_buf() or row - 1 ~= ghost.row or column < ghost.column then
    return nil, column
  end
  local line = vim.api.nvim_get_current_line()
  local typed = line:sub(ghost.column + 1, column)
  local whole = ghost.items[ghost.index].insertText:sub(ghost.taken + 1)
  local along = line:sub(1, ghost.column) == ghost.before and line:sub(column + 1) == ghost.after
  if along and #typed < #whole and vim.startswith(whole, typed) then
    return whole:sub(#typed + 1), column
  end
  return nil, column
end

---Draws what is still to be typed.
---@return boolean
local function draw()
  local rest, column = remainder()
  if not ghost or not rest or vim.fn.pumvisible() == 1 then
    return false
  end
  -- What stands after the cursor already, such as a closing bracket, need not be shown twice.
  local kept = ghost.after:sub(1, ghost.replaced)
  local seen = vim.endswith(rest, kept) and rest:sub(1, #rest - #kept) or rest
  local lines = text.display_lines(seen, vim.bo.tabstop)
  local below = vim.tbl_map(function(line)
    return { { line, "CodekinGhost" } }
  end, vim.list_slice(lines, 2))
  vim.api.nvim_buf_clear_namespace(ghost.buffer, space, 0, -1)
  vim.api.nvim_buf_set_extmark(ghost.buffer, space, ghost.row, column, {
    virt_text = { { lines[1], "CodekinGhost" } },
    virt_text_pos = "inline",
    virt_lines = #below > 0 and below or nil,
  })
  return true
end

---Shows the item at an index: each replaces a range of its own around the cursor.
---@param index integer
---@return boolean
local function choose(index)
  assert(ghost)
  local item, line = ghost.items[index], ghost.before .. ghost.typed
  local column = #line
  local function byte(position)
    local row = position and position.line or ghost.row
    return row > ghost.row and #ghost.after + column
      or position and text.byte_column(line .. ghost.after, position.character, ghost.client.offset_encoding)
      or column
  end
  local range = item.range or {}
  local starts = math.min(byte(range.start), column)
  ghost.index, ghost.column = index, starts
  ghost.before, ghost.typed = line:sub(1, starts), line:sub(starts + 1)
  ghost.replaced = math.max(byte(range["end"]) - column, 0)
  return draw()
end

---@param client vim.lsp.Client
---@param items table[]
---@param invoked boolean
local function show_items(client, items, invoked)
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local before = ghost and ghost.items[ghost.index].insertText
  clear()
  ghost = {
    buffer = vim.api.nvim_get_current_buf(),
    client = client,
    row = row - 1,
    column = column,
    before = line:sub(1, column),
    typed = "",
    taken = 0,
    after = line:sub(column + 1),
    replaced = 0,
    items = items,
    index = 1,
    complete = invoked,
  }
  if choose(items[2] and items[1].insertText == before and 2 or 1) then
    notify_server("didShow", { id = shown_id() })
  else
    clear()
  end
end

---@param kind integer
local function request(kind)
  cancel_pending()
  local buffer = vim.api.nvim_get_current_buf()
  local client = client_of(buffer)
  if not client or not client.attached_buffers[buffer] then
    return
  end
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind } ---@diagnostic disable-line: inject-field
  local tick, cursor = vim.api.nvim_buf_get_changedtick(buffer), vim.api.nvim_win_get_cursor(0)
  local _, id = client:request("textDocument/inlineCompletion", params, function(error, result)
    pending = nil
    if error and kind == INVOKED then
      vim.notify("Codekin: " .. error.message, vim.log.levels.WARN)
    end
    local items = not error and result and (result.items or result) or {}
    for _, item in ipairs(items) do
      item.insertText = item.insertText:gsub("\r\n", "\n")
    end
    local current = buffer == vim.api.nvim_get_current_buf() and tick == vim.api.nvim_buf_get_changedtick(buffer)
    if #items > 0 and current and M.may_show() and vim.deep_equal(cursor, vim.api.nvim_win_get_cursor(0)) then
      show_items(client, items, kind == INVOKED)
    end
  end, buffer)
  pending = id and { client = client, id = id }
end

---Whether this is a mode in which ghost text makes sense.
---@return boolean
function M.may_show()
  return vim.startswith(vim.api.nvim_get_mode().mode, "i") and vim.fn.pumvisible() == 0
end

---@return boolean
local function wanted()
  return switches.on(vim.bo.filetype) and M.may_show()
end

---Asks once the user has paused.
local function ask_soon()
  cancel_pending()
  if wanted() then
    timer:start(config.values.debounce, 0, vim.schedule_wrap(function()
      if wanted() then
        request(AUTOMATIC)
      end
    end))
  end
end

local function changed()
  if not draw() then
    M.dismiss("typed")
    ask_soon()
  end
end

---Serves a buffer.
---@param buffer integer
function M.attach(buffer)
  local group = vim.api.nvim_create_augroup("codekin.ghost." .. buffer, { clear = true })
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = buffer, callback = callback })
  end
  on("TextChangedI", changed)
  on("InsertEnter", vim.schedule_wrap(ask_soon))
  on({ "InsertLeave", "BufLeave" }, function()
    cancel_pending()
    M.dismiss()
  end)
  -- Insert mode can be left without InsertLeave, by CTRL-C and CTRL-O among others.
  on({ "ModeChanged", "SafeState" }, function()
    if ghost and not vim.startswith(vim.api.nvim_get_mode().mode, "i") then
      cancel_pending()
      M.dismiss()
    end
  end)
  on({ "CursorMovedI", "CompleteChanged", "CompleteDone" }, function()
    if ghost and not draw() then
      M.dismiss()
    end
  end)
end

---Puts `accepted` where the cursor is, over `over` bytes; undo takes it away and leaves what was typed.
---@param accepted string
---@param over integer
local function insert(accepted, over)
  vim.cmd("let &g:undolevels = &g:undolevels") -- begins a new undo step
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local lines = vim.split(accepted, "\n", { plain = true })
  vim.api.nvim_buf_set_text(0, row - 1, column, row - 1, column + over, lines)
  local last = #lines == 1 and column + #accepted or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines - 1, last })
end

---Goes on with what is left after `accepted` was taken.
---@param accepted string
---@param column integer where it was put
local function advance(accepted, column)
  assert(ghost)
  local whole = ghost.items[ghost.index].insertText
  local done = whole:sub(1, ghost.taken + column - ghost.column + #accepted)
  notify_server("didPartiallyAccept", { id = shown_id(), acceptedLength = text.units(done, ghost.client.offset_encoding) })
  local _, breaks = accepted:gsub("\n", "")
  if breaks > 0 then
    ghost.row, ghost.column, ghost.before = ghost.row + breaks, 0, ""
    ghost.taken = #done:match("^.*\n")
  end
  if not draw() then
    clear()
  end
end

---Takes the rest, or what `cut` takes of it; false where there is nothing to take.
---@param cut? fun(rest: string): string
---@return boolean
function M.accept(cut)
  local rest, column = remainder()
  if not ghost or not rest then
    return false
  end
  local accepted = cut and cut(rest) or rest
  local whole = #accepted == #rest
  local over = whole and ghost.replaced or 0
  local function finish()
    if not whole then
      advance(accepted, column)
      return
    end
    local client, buffer, command = ghost.client, ghost.buffer, ghost.items[ghost.index].command
    clear()
    if command then
      client:exec_cmd(command, { bufnr = buffer })
    end
  end
  if pcall(insert, accepted, over) then
    finish()
  else
    -- Inside an <expr> mapping the text is locked; what follows it at once comes before all keys that were typed.
    put = function()
      insert(accepted, over)
      finish()
    end
    vim.api.nvim_feedkeys(vim.keycode("<Cmd>lua require('codekin.ghost').put()<CR>"), "ni", false)
  end
  return true
end

---Puts in what was taken while the text was locked.
function M.put()
  put()
end

---Shows another alternative; the first time, all of them are asked for.
---@param step integer
---@return boolean
function M.cycle(step)
  if not ghost then
    return false
  end
  if not ghost.complete then
    request(INVOKED)
    return true
  end
  if ghost.taken > 0 then
    return true -- the lines above are those of this one
  end
  if choose((ghost.index - 1 + step) % #ghost.items + 1) then
    notify_server("didShow", { id = shown_id() })
  else
    clear()
  end
  return true
end

---Takes it off the screen; false where nothing was there.
---@param reason? "typed" where other text was typed
---@return boolean
function M.dismiss(reason)
  local was = ghost ~= nil
  if was and shown_id() then
    notify_server("didReject", { id = shown_id(), reason = reason })
  end
  clear()
  return was
end

---Asks now.
---@return boolean
function M.trigger()
  request(INVOKED)
  return true
end

---@return boolean
function M.visible()
  return ghost ~= nil
end

---The switches have changed: what is no longer wanted goes off the screen.
function M.refresh()
  if not switches.on(vim.bo.filetype) then
    cancel_pending()
    M.dismiss()
  end
end

return M
