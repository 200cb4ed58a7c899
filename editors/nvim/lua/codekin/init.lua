---Codekin in Neovim: the face for mappings, statuslines and configuration. See `:help codekin`.
local config = require("codekin.config")
local text = require("codekin.text")

local M = {}

M.version = "0.1.0"

---Choose otherwise than the defaults; calling it is optional.
---@param options? codekin.Config
function M.setup(options)
  config.set(options)
end

---Begins to serve a buffer; called for each by the plugin.
---@param client vim.lsp.Client
---@param buffer integer
function M.attach(client, buffer)
  M.renderer().attach(buffer)
  require("codekin.next_edit").attach(buffer)
  require("codekin.lens").attach(client, buffer)
end

---What draws the suggestions: Neovim itself where it can, else this plugin.
function M.renderer()
  local native = require("codekin.native")
  return native.exists() and native or require("codekin.ghost")
end

---Takes the whole suggestion; false where there is none, so that a mapping can do something else.
---@return boolean
function M.accept()
  return M.renderer().accept()
end

---Takes the next word of the suggestion.
---@return boolean
function M.accept_word()
  return M.renderer().accept(text.first_word)
end

---Takes the next line of the suggestion.
---@return boolean
function M.accept_line()
  return M.renderer().accept(text.first_line)
end

---Shows the next alternative, asking for more where only one is known.
---@return boolean
function M.next()
  return M.renderer().cycle(1)
end

---Shows the alternative before.
---@return boolean
function M.previous()
  return M.renderer().cycle(-1)
end

---Takes the suggestion off the screen.
---@return boolean
function M.dismiss()
  return M.renderer().dismiss()
end

---Asks for suggestions now, wherever the cursor is.
---@return boolean
function M.trigger()
  return M.renderer().trigger()
end

---Whether a suggestion is on the screen.
---@return boolean
function M.visible()
  return M.renderer().visible()
end

---Goes to the next edit that is shown, or takes it where the cursor is there; false where there is none.
---@return boolean
function M.next_edit()
  return require("codekin.next_edit").accept()
end

---Takes the next edit off the screen.
---@return boolean
function M.dismiss_next_edit()
  return require("codekin.next_edit").dismiss()
end

---A few words for the statusline; empty where Codekin does not run.
---@return string
function M.statusline()
  return require("codekin.status").line()
end

return M
